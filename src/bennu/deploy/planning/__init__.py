"""What has to change: compared, put into words and steps, saved to a file. ``plan`` is the heart of it."""
