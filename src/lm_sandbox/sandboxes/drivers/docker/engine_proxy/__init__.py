"""Stands between a server and the socket of an engine: who may use that socket is root on its host.

What the driver asks of the engine passes, made anew from what is understood of it; everything else is
refused, for the containers of anybody else too. So a server that has been taken over is still nobody there.
"""
