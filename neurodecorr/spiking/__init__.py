"""The rate circuit and its signed spike code in Brian2 (extra `[brian2]`)."""
