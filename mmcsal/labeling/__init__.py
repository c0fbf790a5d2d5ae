"""What annotators hand in, one format a file: labels and lists of ids. Joining them to embeddings is `evaluation`'s."""
