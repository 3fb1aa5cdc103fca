# S3: the moto server, which holds its objects in memory. Its `env` leaves the warehouse to Hadoop where that is asked for too.

s3_port=$((engines_port + 50))

s3_install() {
    apt_install curl curl
    engines_venv
}

s3_start() {
    [ -x "$engines_root/.venv/bin/moto_server" ] || missing s3 || return 1
    needs s3 curl
    alive s3 || as_engine s3 "$engines_root/.venv/bin/moto_server" -H 127.0.0.1 -p "$s3_port"
    wait_until s3 port_open "$s3_port"
    curl -fsS -X PUT "http://127.0.0.1:$s3_port/pinflow" >/dev/null
}

s3_stop() { halt s3; }

s3_status() { alive s3 && port_open "$s3_port"; }

s3_env() {
    echo "export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$s3_port"
    echo "export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1"
    case " ${serving[*]} " in
    *" hadoop "*) echo "note: the warehouse is in HDFS, where Hadoop's jobs write; s3://pinflow is there for input" >&2 ;;
    *) echo "export PINFLOW_WAREHOUSE=s3://pinflow/warehouse" ;;
    esac
}
