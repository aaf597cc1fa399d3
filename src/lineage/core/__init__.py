"""What everything stands on: the values of the design and pure functions of them."""
