# Hadoop: NameNode, DataNode, ResourceManager, NodeManager and JobHistoryServer, one process each.

hadoop_home=$engines_folder/hadoop
hadoop_port=$((engines_port + 800))

hadoop_install() {
    command -v hdfs >/dev/null && return
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
    command -v hdfs >/dev/null || [ -x "$hadoop_home/bin/hdfs" ] || missing hadoop || return 1
    if ! getent hosts "$(hostname)" >/dev/null; then
        echo "error: this machine's name does not resolve; add to /etc/hosts: 127.0.0.1 $(hostname)" >&2
        return 1
    fi
    hadoop_configure
    if [ ! -d "$hadoop_home/data/name/current" ]; then
        hadoop_run hdfs namenode -format -nonInteractive -clusterId local >"$engines_folder/log/hadoop-format.log" 2>&1
    fi
    local daemon
    for daemon in $hadoop_daemons; do
        # the history server writes to HDFS when it starts
        [ "$daemon" != mapred:historyserver ] || hadoop_wait_for_hdfs
        alive "hadoop-${daemon#*:}" || hadoop_daemon "hadoop-${daemon#*:}" "${daemon%:*}" "${daemon#*:}"
    done
    wait_until hadoop-nodemanager answers "http://127.0.0.1:$((hadoop_port + 9))/ws/v1/cluster/metrics" '"activeNodes":1'
    wait_until hadoop-historyserver answers "http://127.0.0.1:$((hadoop_port + 15))/ws/v1/history/info" historyInfo
}

hadoop_wait_for_hdfs() {
    local jmx="http://127.0.0.1:$((hadoop_port + 1))/jmx?qry=Hadoop:service=NameNode,name="
    wait_until hadoop-datanode answers "${jmx}FSNamesystemState" '"NumLiveDataNodes" : 1'
    wait_until hadoop-namenode answers "${jmx}NameNodeInfo" '"Safemode" : ""'
}

# hadoop_run COMMAND ARGUMENTS...: by the commands of the PATH, else by those made from jars
hadoop_run() {
    local command=$1 environment=("HADOOP_CONF_DIR=$hadoop_home/etc/hadoop" "HADOOP_LOG_DIR=$engines_folder/log" HADOOP_USER_NAME=hadoop)
    shift
    if command -v "$command" >/dev/null; then
        env "${environment[@]}" "$command" "$@"
    else
        env "${environment[@]}" "HADOOP_HOME=$hadoop_home" "$hadoop_home/bin/$command" "$@"
    fi
}

# hadoop_daemon NAME COMMAND ARGUMENT: in the background; tasks find the Python first that this checkout uses
hadoop_daemon() {
    local path python=$engines_root/.venv/bin/python
    [ ! -x "$python" ] || local PATH=$(dirname "$(readlink -f "$python")"):$PATH
    path=$(command -v "$2" || echo "$hadoop_home/bin/$2")
    [ "$path" != "$hadoop_home/bin/$2" ] || export HADOOP_HOME=$hadoop_home
    HADOOP_CONF_DIR=$hadoop_home/etc/hadoop HADOOP_LOG_DIR=$engines_folder/log HADOOP_USER_NAME=hadoop as_engine "$1" "$path" "$3"
}

hadoop_configure() {
    local names=(NN NNWEB DN DNWEB DNIPC RM RMSCHED RMTRACK RMADMIN RMWEB NM NMLOC NMWEB SHUFFLE JHS JHSWEB JHSADMIN)
    local i file changes=(-e "s|@HOME@|$hadoop_home|g" -e "s|@DATA@|$hadoop_home/data|g" -e "s|@USER@|hadoop|g")
    mkdir -p "$hadoop_home"/{etc/hadoop,logs/userlogs,tmp,data} "$engines_folder/log"
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
    local bin
    bin=$(dirname "$(command -v hdfs || echo "$hadoop_home/bin/hdfs")")
    echo "export PINFLOW_RUNNER=hadoop PINFLOW_WAREHOUSE=hdfs://127.0.0.1:$hadoop_port/warehouse"
    echo "export WEBHDFS_URL=http://127.0.0.1:$((hadoop_port + 1)) HADOOP_USER_NAME=hadoop"
    echo "export HADOOP_HOME=$(dirname "$bin") HADOOP_CONF_DIR=$hadoop_home/etc/hadoop HADOOP_LOG_DIR=$hadoop_home/logs"
}
