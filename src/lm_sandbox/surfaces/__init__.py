"""The public wires; each parses, authorises, calls one service and renders."""
