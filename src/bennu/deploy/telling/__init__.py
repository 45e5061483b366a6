"""Who is told of a deploy: hooks and web addresses, and what they are still owed."""
