"""One stage a file: committed tables in, committed tables out. Order, resume and the command line are in `run`."""
