"""What every layer may use: troubles, findings, known values, secrets, safe text, the clock's shape."""
