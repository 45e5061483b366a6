"""The command line: one file a verb, and the frame that finds, parses, runs and reports them.

``table`` lists the verbs, ``command`` says what a verb's record is made of, ``main`` runs one. Nothing here is imported
by any floor below, and nothing heavy is imported before a verb has been chosen.
"""
