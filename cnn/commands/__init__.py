"""What the commands of `cnn` do: train.py trains, use.py does all else; the other files are what these two need."""
