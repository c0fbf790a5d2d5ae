"""Labels in, one format a file. What is made of labels (trials, fine-tuning) lies with what makes it."""
