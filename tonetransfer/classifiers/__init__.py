"""The bundled classifier."""
