"""The synthetic corpus, planned, rendered and encoded as real files. Other sources lie beside this folder."""
