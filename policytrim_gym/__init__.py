"""PolicyTrim for Gymnasium: fewer model calls and fewer steps for chunked policies."""
