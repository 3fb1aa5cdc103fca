# Shared by bin/pinflow and bin/test: a virtual environment that is whole or not there, made once for each setup.cfg.

find_python() {
    local name
    for name in python3.11 python3.12 python3.13 python3; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "error: pinflow needs Python 3.11, 3.12 or 3.13, and none was found on the PATH; set PYTHON=/path/to/python" >&2
    return 2
}

# make_venv FOLDER PYTHON EXTRAS: install this checkout, editable, with extras such as [dev]
make_venv() {
    local venv=$1 python=$2 extras=$3 root stamp
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    stamp=$venv/.installed$extras
    [ -e "$stamp" ] && [ ! "$root/setup.cfg" -nt "$stamp" ] && return
    [ -n "$python" ] || python=$(find_python)
    mkdir -p "$(dirname "$venv")"
    exec 9>"$venv.lock"
    flock 9
    if [ ! -e "$stamp" ] || [ "$root/setup.cfg" -nt "$stamp" ]; then
        echo "installing pinflow$extras into $venv (once, about a minute)" >&2
        [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade pip >&2
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root$extras" >&2
        touch "$stamp"
    fi
    exec 9>&-
}
