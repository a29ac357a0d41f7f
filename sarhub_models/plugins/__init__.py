"""Where this package plugs into others."""
