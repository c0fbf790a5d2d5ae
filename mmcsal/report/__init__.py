"""Tables -> figures -> one offline HTML file.

`build.build_report` is the entry; this file imports nothing, so that a configuration can name `spec.ReportSpec`
without loading matplotlib.
"""
