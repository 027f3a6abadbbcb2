"""The bundled weights (data)."""
