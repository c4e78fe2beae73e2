"""How large a study must be: power curves, smallest designs, cheapest designs."""
