"""The numbers of panel estimators, from cross-products by group."""
