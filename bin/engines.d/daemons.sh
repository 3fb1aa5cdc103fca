# Shared by the engines: where they live, and processes that are found again by their pid files.

engines_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
engines_folder=$(mkdir -p "${PINFLOW_ENGINES:-$engines_root/.engines}" && cd "${PINFLOW_ENGINES:-$engines_root/.engines}" && pwd)
engines_port=${PINFLOW_ENGINES_PORT:-19000}
engines_files=$engines_root/bin/engines.d
# seconds that one process gets until it serves; one that ends is seen at once
engines_patience=${PINFLOW_ENGINES_PATIENCE:-300}

# launch NAME COMMAND...: run in the background in a session of its own, with pid file and log
launch() {
    local name=$1
    shift
    mkdir -p "$engines_folder/run" "$engines_folder/log"
    setsid "$@" >"$engines_folder/log/$name.log" 2>&1 </dev/null &
    echo $! >"$engines_folder/run/$name.pid"
    sleep 0.1 # until it has its own environment, by which `alive` knows it
}

# alive NAME: whether the process of the pid file runs, is not a zombie, and is the one that was started here
alive() {
    local pid file=$engines_folder/run/$1.pid
    [ -f "$file" ] && pid=$(cat "$file") && [ -n "$pid" ] || return 1
    grep -q '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" 2>/dev/null || return 1
    grep -qzxF "PINFLOW_ENGINE=$1@$engines_folder" "/proc/$pid/environ" 2>/dev/null
}

# halt NAME: TERM, after 20 s KILL, and wait for the end
halt() {
    local pid
    if alive "$1"; then
        pid=$(cat "$engines_folder/run/$1.pid")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 200); do
            alive "$1" || break
            sleep 0.1
        done
        if alive "$1"; then kill -9 "$pid" 2>/dev/null || true; fi
        while alive "$1"; do sleep 0.1; done
    fi
    rm -f "$engines_folder/run/$1.pid"
}

# wait_until NAMES COMMAND...: until the command succeeds; fails, showing the log, when one of NAMES ends or the last takes too long
wait_until() {
    local end=$((SECONDS + engines_patience)) names=$1 name
    shift
    until "$@" 2>/dev/null; do
        for name in $names; do
            alive "$name" && continue
            echo "error: $name ended while starting; the end of $engines_folder/log/$name.log:" >&2
            tail -n 30 "$engines_folder/log/$name.log" >&2
            return 1
        done
        if [ $SECONDS -ge $end ]; then
            echo "error: $name is not ready in time; see $engines_folder/log/$name.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

# answers URL PATTERN: whether what the URL gives matches
answers() { curl -fsS -m 20 "$1" | grep -E "$2" >/dev/null; }

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# end_spawners NAME: end what a JVM that was killed left in the middle of starting a program, and which holds its ports
end_spawners() {
    local folder comm
    for folder in /proc/[0-9]*; do
        read -r comm 2>/dev/null <"$folder/comm" && [ "$comm" = jspawnhelper ] || continue
        grep -qzxF "PINFLOW_ENGINE=$1@$engines_folder" "$folder/environ" 2>/dev/null || continue
        kill -9 "${folder#/proc/}" 2>/dev/null || true
    done
}

# as_engine NAME COMMAND...: with the mark by which `alive` knows the process
as_engine() {
    local name=$1
    shift
    end_spawners "$name"
    PINFLOW_ENGINE="$name@$engines_folder" launch "$name" "$@"
}

# missing NAME COMMAND: say how to install, and fail
missing() {
    echo "error: $1 is not installed; install it with: bin/engines start --install $1" >&2
    return 1
}

# needs NAME COMMAND...: fail, saying how to install, when one of the commands is not on the PATH
needs() {
    local name=$1 command
    shift
    for command in "$@"; do
        command -v "$command" >/dev/null && continue
        echo "error: $name needs the command $command, which is not on the PATH; install it with: bin/engines start --install $name" >&2
        return 1
    done
}

# java_home: the folder of the Java of JAVA_HOME, else of the PATH; fails where none runs
java_home() { "${JAVA_HOME:+$JAVA_HOME/bin/}java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java\.home = //p'; }

# needs_java NAME: set JAVA_HOME, without which distributions start nothing; fail, saying how to install, where there is no Java
needs_java() {
    local home
    if home=$(java_home); then
        export JAVA_HOME=$home
    elif [ -n "${JAVA_HOME:-}" ]; then
        echo "error: $JAVA_HOME/bin/java does not run; correct JAVA_HOME, or unset it to use the java of the PATH" >&2
        return 1
    else
        echo "error: $1 needs Java 17, and no java of the PATH runs; install it with: bin/engines start --install $1" >&2
        return 1
    fi
}

# java_install: Java, where none runs
java_install() { java_home >/dev/null || apt_install java openjdk-17-jre-headless; }

# logged NAME COMMAND...: run to its end, with what it says in the log of this name; when it fails, show the log's end
logged() {
    local name=$1 log=$engines_folder/log/$1.log
    shift
    mkdir -p "$engines_folder/log"
    "$@" >"$log" 2>&1 && return
    echo "error: $name failed; the end of $log:" >&2
    tail -n 30 "$log" >&2
    return 1
}

# apt_install COMMAND PACKAGE: a Debian package where its command is not on the PATH
apt_install() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" != 0 ]; then
        echo "error: $1 is not on the PATH; install it with: sudo apt-get install $2" >&2
        return 1
    fi
    apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$2" >&2
}

# maven_jars POM FOLDER: all jars that the pom names, from the Maven registry; once for each content of the pom
maven_jars() {
    local want
    want=$(sha256sum <"$1")
    [ "$(cat "$2/.complete" 2>/dev/null)" = "$want" ] && return
    apt_install mvn maven
    rm -rf "$2"
    mvn -B -q -ntp -Dmaven.artifact.threads=10 -f "$1" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$2" >&2
    rm -f "$2"/*-osx-*.jar "$2"/*-aarch_64.jar
    echo "$want" >"$2/.complete"
}

# engines_venv: the virtual environment of the checkout, with the engines that are Python packages
engines_venv() {
    . "$engines_root/bin/venv.sh"
    make_venv "$engines_root/.venv" "${PYTHON:-}" "[dev]"
}
