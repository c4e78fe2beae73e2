"""The recommended workflow: readable scripts of calls to what is below."""
