"""Writes the configuration of a proxy before several processes of lm-sandbox. Needs nothing but Python.

usage: python deploy/proxy/generate.py nginx --bind 0.0.0.0:443 --cert cert.pem --key key.pem \
           --server 127.0.0.1:8001 --server 127.0.0.1:8002 > nginx.conf
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template

HERE = Path(__file__).parent
FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}
LINES = {
    "nginx": "        server {address} max_fails=1 fail_timeout=2s;",
    "haproxy": "    server server{number} {address}",
}


def configuration(proxy: str, servers: Sequence[str], places: dict[str, str]) -> str:
    """Returns the whole configuration.

    Args:
        proxy: `nginx` or `haproxy`.
        servers: The addresses of the processes.
        places: `bind`, and the files: `cert`, `key` and the folder `state` for nginx, `pem` for HAProxy.
    """
    numbered = enumerate(servers, 1)
    lines = [LINES[proxy].format(number=number, address=address) for number, address in numbered]
    return Template((HERE / FILES[proxy]).read_text()).substitute(places, servers="\n".join(lines))


def main() -> None:
    """Reads the command line and writes to standard output."""
    parser = argparse.ArgumentParser(description="Writes the configuration of a proxy before lm-sandbox.")
    parser.add_argument("proxy", choices=FILES)
    parser.add_argument("--server", action="append", required=True, help="host:port of one process")
    parser.add_argument("--bind", default="0.0.0.0:443", help="where clients come in")
    parser.add_argument("--cert", default="/etc/ssl/lm-sandbox.crt", help="nginx: the certificate")
    parser.add_argument("--key", default="/etc/ssl/lm-sandbox.key", help="nginx: its key")
    parser.add_argument(
        "--pem", default="/etc/ssl/lm-sandbox.pem", help="HAProxy: certificate and key in one file"
    )
    parser.add_argument("--state", default="/var/lib/nginx", help="nginx: where it may write")
    given = vars(parser.parse_args())
    places = {name: given[name] for name in ("bind", "cert", "key", "pem", "state")}
    sys.stdout.write(configuration(given["proxy"], given["server"], places))


if __name__ == "__main__":
    main()
