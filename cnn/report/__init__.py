"""What a person looks at: the pictures of a training run. Importing this package imports no matplotlib."""
