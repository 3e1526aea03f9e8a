"""What the commands of `cnn` do: train.py trains, verify.py proves, use.py does all else; the rest helps them."""
