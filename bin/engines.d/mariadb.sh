# MariaDB: one server with the empty database `pinflow`; root has no password, and it listens on loopback only.

# Debian's servers lie outside the PATH of ordinary users
PATH=$PATH:/usr/local/sbin:/usr/sbin
mariadb_folder=$engines_folder/mariadb
mariadb_port=$((engines_port + 60))
mariadb_socket=$mariadb_folder/socket

mariadb_install() { apt_install mariadbd mariadb-server; }

mariadb_start() {
    needs mariadb mariadbd mariadb-install-db mariadb
    if mariadb_status; then return; fi
    if [ ${#mariadb_socket} -gt 100 ]; then
        echo "error: $mariadb_folder is too long for a socket's path; set PINFLOW_ENGINES to a shorter folder" >&2
        return 1
    fi
    # The server refuses to run as root unless that is said; nobody else may say it.
    local as=()
    [ "$(id -u)" != 0 ] || as=(--user=root)
    mkdir -p "$mariadb_folder/tmp"
    if [ ! -e "$mariadb_folder/.made" ]; then
        rm -rf "$mariadb_folder/data"
        logged mariadb-install mariadb-install-db --no-defaults "${as[@]}" --datadir="$mariadb_folder/data" --tmpdir="$mariadb_folder/tmp" \
            --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve --innodb-log-file-size=16M
        touch "$mariadb_folder/.made"
    fi
    as_engine mariadb mariadbd --no-defaults "${as[@]}" --datadir="$mariadb_folder/data" --tmpdir="$mariadb_folder/tmp" \
        --socket="$mariadb_socket" --pid-file="$mariadb_folder/pid" --bind-address=127.0.0.1 --port="$mariadb_port" \
        --skip-name-resolve --skip-log-bin --performance-schema=OFF \
        --character-set-server=utf8mb4 --collation-server=utf8mb4_bin \
        --innodb-log-file-size=16M --innodb-buffer-pool-size=128M \
        --innodb-flush-log-at-trx-commit="${PINFLOW_MARIADB_FLUSH:-1}"
    wait_until mariadb mariadb_command "CREATE DATABASE IF NOT EXISTS pinflow"
}

mariadb_stop() { halt mariadb; }

mariadb_status() { alive mariadb && mariadb_command "SELECT 1" 2>/dev/null; }

mariadb_env() { echo "export PINFLOW_DATABASE='mysql+pymysql://root@127.0.0.1:$mariadb_port/pinflow'"; }

# mariadb_command SQL: as root, over the socket
mariadb_command() { mariadb --no-defaults --socket="$mariadb_socket" --user=root --execute="$1" >/dev/null; }
