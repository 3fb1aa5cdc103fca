# SMTP: aiosmtpd, which keeps what it gets in a Maildir.

smtp_port=$((engines_port + 25))

smtp_install() { engines_venv; }

smtp_start() {
    [ -x "$engines_root/.venv/bin/aiosmtpd" ] || missing smtp || return 1
    mkdir -p "$engines_folder/smtp"
    alive smtp || as_engine smtp "$engines_root/.venv/bin/aiosmtpd" -n -l "127.0.0.1:$smtp_port" -c aiosmtpd.handlers.Mailbox "$engines_folder/smtp/mail"
    wait_until smtp port_open "$smtp_port"
}

smtp_stop() { halt smtp; }

smtp_status() { alive smtp && port_open "$smtp_port"; }

smtp_env() { echo "export PINFLOW_MAIL=smtp://127.0.0.1:$smtp_port"; }
