# Hadoop: NameNode, DataNode, ResourceManager, NodeManager and JobHistoryServer, one process each.

hadoop_home=$engines_folder/hadoop
hadoop_port=$((engines_port + 800))

# hadoop_place: the folder of the Hadoop that is used, that of `hdfs` on the PATH or the own one
hadoop_place() {
    local hdfs
    if hdfs=$(command -v hdfs); then dirname "$(dirname "$(readlink -f "$hdfs")")"; else echo "$hadoop_home"; fi
}

hadoop_install() {
    java_install
    apt_install curl curl
    [ "$(hadoop_place)" = "$hadoop_home" ] || return 0
    maven_jars "$engines_files/hadoop/pom.xml" "$hadoop_home/share/hadoop/lib"
    # streaming stays off the class path, as in the distribution
    mkdir -p "$hadoop_home/share/hadoop/tools/lib" "$hadoop_home/bin"
    mv "$hadoop_home"/share/hadoop/lib/hadoop-streaming-*.jar "$hadoop_home/share/hadoop/tools/lib/" 2>/dev/null || true
    find "$hadoop_home/share/hadoop/lib" -name '*.jar' | LC_ALL=C sort | paste -sd: >"$hadoop_home/share/hadoop/classpath"
    install -m 755 "$engines_files/hadoop/hadoop" "$hadoop_home/bin/hadoop"
    local name
    for name in hdfs yarn mapred; do ln -sfn hadoop "$hadoop_home/bin/$name"; done
}

# the five daemons with the arguments of the distribution's commands
hadoop_daemons="hdfs:namenode hdfs:datanode yarn:resourcemanager yarn:nodemanager mapred:historyserver"

hadoop_start() {
    hadoop_is_whole
    needs_java hadoop
    needs hadoop curl
    if ! getent hosts "$(hostname)" >/dev/null; then
        echo "error: this machine's name does not resolve; add to /etc/hosts: 127.0.0.1 $(hostname)" >&2
        return 1
    fi
    hadoop_configure
    if [ ! -d "$hadoop_home/data/name/current" ]; then
        # what is left of a failed try would pass for a file system
        logged hadoop-format hadoop_run hdfs namenode -format -nonInteractive -clusterId local || { rm -rf "$hadoop_home/data/name"; return 1; }
    fi
    local daemon
    for daemon in $hadoop_daemons; do
        # the history server writes to HDFS when it starts
        [ "$daemon" != mapred:historyserver ] || hadoop_wait_for_hdfs
        alive "hadoop-${daemon#*:}" || hadoop_daemon "hadoop-${daemon#*:}" "${daemon%:*}" "${daemon#*:}"
    done
    wait_until "hadoop-resourcemanager hadoop-nodemanager" answers "http://127.0.0.1:$((hadoop_port + 9))/ws/v1/cluster/metrics" '"activeNodes":1'
    wait_until hadoop-historyserver answers "http://127.0.0.1:$((hadoop_port + 15))/ws/v1/history/info" historyInfo
}

hadoop_wait_for_hdfs() {
    local jmx="http://127.0.0.1:$((hadoop_port + 1))/jmx?qry=Hadoop:service=NameNode,name="
    wait_until "hadoop-namenode hadoop-datanode" answers "${jmx}FSNamesystemState" '"NumLiveDataNodes" : 1'
    wait_until hadoop-namenode answers "${jmx}NameNodeInfo" '"Safemode" : ""'
}

# hadoop_is_whole: whether the Hadoop that is used has its commands, and what jobs of Hadoop Streaming need
hadoop_is_whole() {
    local place
    place=$(hadoop_place)
    if [ "$place" = "$hadoop_home" ]; then
        [ -x "$place/bin/hdfs" ] || missing hadoop
    elif ! compgen -G "$place/share/hadoop/tools/lib/hadoop-streaming-*.jar" >/dev/null; then
        echo "error: $(command -v hdfs) on the PATH belongs to $place, which has no share/hadoop/tools/lib/hadoop-streaming-*.jar;" \
            "put the folder bin of a distribution on the PATH, or none: then --install installs one" >&2
        return 1
    fi
}

# hadoop_run COMMAND ARGUMENTS...: a command of the Hadoop that is used
hadoop_run() {
    local place command=$1
    place=$(hadoop_place)
    shift
    env "HADOOP_HOME=$place" "HADOOP_CONF_DIR=$hadoop_home/etc/hadoop" "HADOOP_LOG_DIR=$engines_folder/log" HADOOP_USER_NAME=hadoop \
        "$place/bin/$command" "$@"
}

# hadoop_daemon NAME COMMAND ARGUMENT: in the background
hadoop_daemon() {
    local place
    place=$(hadoop_place)
    # a distribution starts nothing while its own pid file, by default in /tmp, names any process that runs
    rm -rf "$hadoop_home/pids/$1"
    HADOOP_HOME=$place HADOOP_CONF_DIR=$hadoop_home/etc/hadoop HADOOP_LOG_DIR=$engines_folder/log HADOOP_PID_DIR=$hadoop_home/pids/$1 \
        HADOOP_USER_NAME=hadoop as_engine "$1" "$place/bin/$2" "$3"
}

hadoop_configure() {
    local names=(NN NNWEB DN DNWEB DNIPC RM RMSCHED RMTRACK RMADMIN RMWEB NM NMLOC NMWEB SHUFFLE JHS JHSWEB JHSADMIN)
    local i file classpath python=$engines_root/.venv/bin/python changes=(-e "s|@HOME@|$hadoop_home|g" -e "s|@DATA@|$hadoop_home/data|g" -e "s|@USER@|hadoop|g")
    mkdir -p "$hadoop_home"/{etc/hadoop,logs/userlogs,tmp,data} "$engines_folder/log"
    # distributions read their own settings from this folder
    echo "export JAVA_HOME=\${JAVA_HOME:-$JAVA_HOME}" >"$hadoop_home/etc/hadoop/hadoop-env.sh"
    # tasks find the Python first that this checkout uses; a daemon's own PATH does not reach them
    [ ! -x "$python" ] || python=$(readlink -f "$python")
    changes+=(-e "s|@PATH@|$(dirname "$python"):$PATH|g")
    classpath=$(hadoop_run hadoop classpath)
    if [ -z "$classpath" ]; then
        echo "error: $(hadoop_place)/bin/hadoop classpath prints nothing, so that no job would find Hadoop's classes" >&2
        return 1
    fi
    changes+=(-e "s|@CLASSPATH@|${classpath//:/,}|g")
    for i in "${!names[@]}"; do changes+=(-e "s|@P_${names[$i]}@|$((hadoop_port + i))|g"); done
    for file in "$engines_files"/hadoop/conf/*; do sed "${changes[@]}" "$file" >"$hadoop_home/etc/hadoop/$(basename "$file")"; done
    # HDFS's web pages are in no jar, but the daemons want their folders
    for i in hdfs datanode journal; do
        mkdir -p "$hadoop_home/etc/hadoop/webapps/$i/WEB-INF"
        echo "<web-app/>" >"$hadoop_home/etc/hadoop/webapps/$i/WEB-INF/web.xml"
    done
}

hadoop_stop() {
    local daemon process
    for daemon in historyserver nodemanager resourcemanager datanode namenode; do halt "hadoop-$daemon"; done
    # tasks of a job that was still running
    for process in $(grep -alF "$hadoop_home/data/nm-local/usercache/" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
        kill -9 "$process" 2>/dev/null || true
    done
}

hadoop_status() { alive hadoop-namenode && alive hadoop-nodemanager && port_open "$hadoop_port"; }

hadoop_env() {
    echo "export PINFLOW_RUNNER=hadoop PINFLOW_WAREHOUSE=hdfs://127.0.0.1:$hadoop_port/warehouse"
    echo "export WEBHDFS_URL=http://127.0.0.1:$((hadoop_port + 1)) HADOOP_USER_NAME=hadoop"
    echo "export HADOOP_HOME=$(hadoop_place) HADOOP_CONF_DIR=$hadoop_home/etc/hadoop HADOOP_LOG_DIR=$hadoop_home/logs"
}
