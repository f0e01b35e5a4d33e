"""What psycopg does with a server: `client.py CONNECTION NAME`, where NAME is one of the functions below. The table has the
records of `filled` in pg.rs."""

import datetime
import sys
import threading
import time

import psycopg
from psycopg import errors

CONNECTION = sys.argv[1]
UTC = datetime.timezone.utc


def connect(**arguments):
    return psycopg.connect(CONNECTION, **arguments)


def raises(kind, cursor, sql, parameters=None):
    try:
        cursor.execute(sql, parameters)
        cursor.fetchall()
    except kind as error:
        return error
    raise AssertionError(f"{sql} was answered")


def parameters():
    for binary in (False, True):
        with connect(autocommit=True) as connection, connection.cursor(binary=binary) as cursor:
            asked = """SELECT timestamp, service, status, ms, ok FROM logs
                       WHERE service = %s AND status >= %s AND timestamp < %s ORDER BY timestamp"""
            until = datetime.datetime(2026, 11, 20, 10, 0, 30, tzinfo=UTC)
            for _ in range(8):  # prepared from the sixth on
                rows = cursor.execute(asked, ("pay", 500, until)).fetchall()
                first = datetime.datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)
                assert rows == [(first, "pay", 500, 1.5, True)], rows
            kinds = [column.type_code for column in cursor.description]
            assert kinds == [1184, 25, 20, 701, 16], kinds
            nulls = cursor.execute("SELECT ms, ok, service FROM logs WHERE status = %s", (204,)).fetchone()
            assert nulls == (None, None, "cart"), nulls
            same = cursor.execute("SELECT %s, %s::bigint, %s::float8", ("grüße", 7, 2.5)).fetchone()
            assert same == ("grüße", 7, 2.5), same
            none = cursor.execute("SELECT count(*) FROM logs WHERE service = %s", (None,)).fetchone()
            assert none == (0,), none
            assert cursor.execute("SELECT date_bin(INTERVAL '1 minute', timestamp) AS t, count(*) FROM logs "
                                  "GROUP BY t ORDER BY t").fetchall()[0][1] == 2


def transactions():
    with connect() as connection:
        assert connection.execute("SELECT count(*) FROM logs").fetchone() == (3,)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        connection.commit()
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with connection.transaction():
            connection.execute("SET LOCAL statement_timeout = '10s'")
            assert connection.execute("SHOW statement_timeout").fetchone() == ("10s",)
        assert connection.info.parameter_status("TimeZone") == "UTC"
        assert connection.info.server_version == 150000, connection.info.server_version


def refusals():
    with connect(autocommit=True) as connection, connection.cursor() as cursor:
        assert raises(errors.SyntaxError, cursor, "SELECT 1 FROM logs ORDER level").diag.statement_position
        raises(errors.ReadOnlySqlTransaction, cursor, "DELETE FROM logs")
        raises(errors.ReadOnlySqlTransaction, cursor, "CREATE TABLE t AS SELECT 1")
        error = raises(psycopg.Error, cursor, "SELECT servce FROM logs WHERE status = %s", (1,))
        assert "service" in str(error), error
        raises(errors.OutOfMemory, cursor, "SELECT value FROM generate_series(1, 3000000) ORDER BY value DESC")
        cursor.execute("SET statement_timeout = 300")
        endless = "SELECT sum(a.value * b.value) FROM generate_series(1, 50000) a, generate_series(1, 1000000000) b"
        raises(errors.QueryCanceled, cursor, endless)
        cursor.execute("RESET statement_timeout")
        assert cursor.execute("SELECT 1").fetchone() == (1,), "the connection lives on"


def cancelled():
    with connect(autocommit=True) as connection:
        threading.Timer(0.7, connection.cancel_safe).start()
        began = time.monotonic()
        endless = "SELECT sum(a.value * b.value) FROM generate_series(1, 50000) a, generate_series(1, 1000000000) b"
        error = raises(errors.QueryCanceled, connection.cursor(), endless)
        assert "user request" in str(error), error
        assert time.monotonic() - began < 20
        assert connection.execute("SELECT count(*) FROM logs").fetchone() == (3,)


def streamed():
    with connect(autocommit=True) as connection:
        total = 0
        for (value,) in connection.cursor(binary=True).stream("SELECT value FROM generate_series(1, 400000)"):
            total += value
        assert total == 400000 * 400001 // 2, total
        few = 0
        for _ in connection.cursor().stream("SELECT value, repeat('x', 100) FROM generate_series(1, 900000)"):
            few += 1
            if few == 10:
                break
        assert connection.execute("SELECT 1").fetchone() == (1,)


def portals():
    """Rows in portions, by the protocol itself: portals with a row limit are not in psycopg's own interface."""
    import socket
    import struct

    info = psycopg.conninfo.conninfo_to_dict(CONNECTION)
    wire = socket.create_connection((info["host"], int(info["port"])), timeout=60)
    stream = wire.makefile("rwb")

    def send(kind, body=b""):
        stream.write(kind + struct.pack("!I", len(body) + 4) + body)

    def read():
        kind = stream.read(1)
        (length,) = struct.unpack("!I", stream.read(4))
        return kind, stream.read(length - 4)

    def until(last):
        seen = []
        while not seen or seen[-1][0] not in last:
            seen.append(read())
        return seen

    send(b"", struct.pack("!I", 196608) + b"user\0me\0database\0logmill\0\0")
    stream.flush()
    until(b"Z")
    send(b"P", b"s\0SELECT value FROM generate_series(1, 25) WHERE value <= $1\0" + struct.pack("!HI", 1, 20))
    send(b"B", b"p\0s\0" + struct.pack("!HHI", 0, 1, 2) + b"25" + struct.pack("!H", 0))
    send(b"D", b"Pp\0")
    for _ in range(3):
        send(b"E", b"p\0" + struct.pack("!I", 10))
    send(b"H")
    stream.flush()
    kinds = b"".join(kind for kind, _ in until(b"CE"))
    assert kinds == b"12T" + b"D" * 10 + b"s" + b"D" * 10 + b"s" + b"D" * 5 + b"C", kinds
    send(b"D", b"Px\0")
    send(b"E", b"p\0\0\0\0\0")
    send(b"S")
    stream.flush()
    kinds = b"".join(kind for kind, _ in until(b"Z"))
    assert kinds == b"EZ", kinds
    send(b"P", b"s\0broken\xff\0\0\0")
    stream.flush()
    kind, body = read()
    assert kind == b"E" and b"08P01" in body, body
    assert stream.read(1) == b"", "a client that breaks the protocol is left"


globals()[sys.argv[2]]()
