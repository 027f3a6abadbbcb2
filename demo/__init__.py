"""The page: tone transfer in the browser."""
