"""What is not as it was made: compared, looked for, remembered, said and mended. ``comparison`` is the heart of it."""
