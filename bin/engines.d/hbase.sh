# HBase: master with region server and ZooKeeper in one process, the Thrift server, and a Thrift2 server that makes tables.

hbase_home=$engines_folder/hbase
hbase_thrift=$((engines_port + 90))
hbase_thrift2=$((engines_port + 91))

hbase_install() {
    java_install
    command -v hbase >/dev/null || maven_jars "$engines_files/hbase/pom.xml" "$hbase_home/lib"
}

hbase_start() {
    command -v hbase >/dev/null || [ -f "$hbase_home/lib/.complete" ] || missing hbase || return 1
    needs_java hbase
    mkdir -p "$hbase_home/conf" "$hbase_home/data"
    cp "$engines_files"/hbase/{hbase-site.xml,log4j2.properties} "$hbase_home/conf/"
    export HB_DATA=$hbase_home/data HB_ZK_PORT=$((engines_port + 93)) HB_MASTER_PORT=$((engines_port + 94)) HB_RS_PORT=$((engines_port + 95))
    hbase_daemon hbase-master 1g org.apache.hadoop.hbase.master.HMaster master start
    wait_until hbase-master grep -q "Master has completed initialization" "$engines_folder/log/hbase-master.log"
    hbase_daemon hbase-thrift 512m org.apache.hadoop.hbase.thrift.ThriftServer thrift -b 127.0.0.1 -p "$hbase_thrift" --infoport -1 start
    hbase_daemon hbase-thrift2 192m org.apache.hadoop.hbase.thrift2.ThriftServer thrift2 -b 127.0.0.1 -p "$hbase_thrift2" --infoport -1 start
    wait_until hbase-thrift port_open "$hbase_thrift"
    wait_until hbase-thrift2 port_open "$hbase_thrift2"
}

# hbase_daemon NAME HEAP CLASS COMMAND ARGUMENTS...: by the `hbase` of the PATH, else from the jars
hbase_daemon() {
    local name=$1 heap=$2 class=$3 command=$4
    shift 4
    alive "$name" && return
    if command -v hbase >/dev/null; then
        # its script looks for others beside itself, where a link is not
        HBASE_HEAPSIZE=$heap as_engine "$name" "$(readlink -f "$(command -v hbase)")" --config "$hbase_home/conf" "$command" "$@"
        return
    fi
    local opens=() package
    for package in java.nio sun.nio.ch java.lang jdk.internal.ref java.lang.reflect java.util java.util.concurrent; do
        opens+=(--add-opens "java.base/$package=ALL-UNNAMED")
    done
    for package in java.base/jdk.internal.misc java.security.jgss/sun.security.krb5 java.base/sun.net.dns java.base/sun.net.util; do
        opens+=(--add-exports "$package=ALL-UNNAMED")
    done
    as_engine "$name" "$JAVA_HOME/bin/java" "-Xmx$heap" -XX:+UseSerialGC --add-modules jdk.unsupported "${opens[@]}" \
        -Dorg.apache.hbase.thirdparty.io.netty.tryReflectionSetAccessible=true -Djava.net.preferIPv4Stack=true \
        -cp "$hbase_home/conf:$hbase_home/lib/*" "$class" "$@"
}

hbase_stop() {
    halt hbase-thrift2
    halt hbase-thrift
    halt hbase-master
}

hbase_status() { alive hbase-master && alive hbase-thrift && port_open "$hbase_thrift"; }

hbase_env() { echo "export PINFLOW_SERVING='hbase://127.0.0.1:$hbase_thrift?thrift2=127.0.0.1:$hbase_thrift2'"; }
