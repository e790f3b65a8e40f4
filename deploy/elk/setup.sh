#!/bin/sh
# Puts the lifecycle and the template of the log into Elasticsearch, and the dashboard into Kibana; can be run again.
# usage: ELASTICSEARCH_URL=... KIBANA_URL=... [ELASTICSEARCH_USER=... ELASTICSEARCH_PASSWORD=...] setup.sh
set -eu
cd "$(dirname "$0")"

: "${ELASTICSEARCH_URL:?is needed, such as http://127.0.0.1:9200}"
user=${ELASTICSEARCH_USER:-elastic}

call() { # URL ARGUMENT...: the password is read from standard input, where no list of processes shows it
    printf 'user = "%s:%s"\n' "$user" "${ELASTICSEARCH_PASSWORD:-}" |
        curl --silent --show-error --fail-with-body --config - "$@"
    echo
}

call -X PUT -H 'Content-Type: application/json' --data @lifecycle.json "$ELASTICSEARCH_URL/_ilm/policy/lm-sandbox"
call -X PUT -H 'Content-Type: application/json' --data @template.json "$ELASTICSEARCH_URL/_index_template/lm-sandbox"
if [ -n "${KIBANA_URL:-}" ]; then
    call -X POST -H 'kbn-xsrf: true' --form file=@dashboard.ndjson "$KIBANA_URL/api/saved_objects/_import?overwrite=true"
fi
