"""What a person looks at: the images of a training run. Importing this package imports no matplotlib."""
