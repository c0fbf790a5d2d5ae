"""Films that spell their own time: every frame says when it is and which way is up, every sound when it was made.

What a decoded clip spells tells whether it shows what a viewer sees and hears; no golden bytes are kept. `paint` draws
and sings them, `read` reads them back, `cases` lists the kinds of files that people have, made of them by ffmpeg.
"""
