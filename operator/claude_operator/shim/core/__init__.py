"""What every dialect can do with sessions, in the vocabulary of the product."""
