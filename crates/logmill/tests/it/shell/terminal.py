"""A person at a terminal: `terminal.py BINARY`, then the shell's environment. What is typed stands below, and so does what has
to be seen before the next line is typed."""

import os
import pty
import re
import select
import sys
import time

ENDLESS = "SELECT sum(a.value * b.value) FROM generate_series(1, 50000) a, generate_series(1, 1000000000) b"
COLOURS = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    def __init__(self, binary):
        self.seen = b""
        self.process, self.file = pty.fork()
        if self.process == 0:
            os.execv(binary, [binary])

    def type(self, text):
        os.write(self.file, text)

    def see(self, text, patience=60):
        end = time.monotonic() + patience
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.file], [], [], left)[0]:
                sys.exit(f"{text!r} was not seen in {self.seen!r}")
            try:
                read = os.read(self.file, 65536)
            except OSError:
                read = b""
            if not read:
                sys.exit(f"the shell ended; {text!r} was not seen in {self.seen!r}")
            self.seen += COLOURS.sub(b"", read)
        self.seen = self.seen.split(text, 1)[1]

    def ended(self):
        while True:
            try:
                if not os.read(self.file, 65536):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


shell = Terminal(sys.argv[1])
shell.see(b"\\help helps")
shell.see(b"logsql> ")
shell.type(b"\\help\r")
shell.see(b"show records as they arrive")
shell.see(b"logsql> ")
shell.type(b"declined service:=pay\r")
shell.see(b"card declined")
shell.see(b"1 record in")
shell.see(b"logsql> ")
shell.type(b"declined | stats by (service) count() n\r")
shell.see(b"n=1")
shell.see(b"logsql> ")
shell.type(b"declined | limit x\r")
shell.see(b"error:")
shell.see(b"^")
shell.see(b"logsql> ")
shell.type(b"\\fields\r")
shell.see(b"service  text")
shell.see(b"logsql> ")
shell.type(b"servi\t")
shell.see(b"service")
shell.type(b"\x03")
shell.see(b"logsql> ")
shell.type(b"\\sql SELECT service, count(*) AS n FROM logs GROUP BY service\r")
shell.see(b"pay")
shell.see(b"1 row in")
shell.see(b"logsql> ")
shell.type(b"\\sql\r")
shell.see(b"sql> ")
shell.type(b"SELECT 'open\r")  # goes on in the next line
shell.type(b"end' AS text\r")
shell.see(b"end")
shell.see(b"1 row in")
shell.see(b"sql> ")
shell.type(b"SELECT 1 FROM logs ORDER level\r")
shell.see(b"error:")
shell.see(b"^")
shell.see(b"sql> ")
shell.type(ENDLESS.encode() + b"\r")
time.sleep(1)
shell.type(b"\x03")
shell.see(b"stopped")
shell.see(b"sql> ")
shell.type(b"SELECT json_get_i\t")
shell.see(b"json_get_int")
shell.type(b"\x03")
shell.see(b"sql> ")
shell.type(b"\\nonsense\r")
shell.see(b"there is no \\nonsense")
shell.see(b"sql> ")
shell.type(b"\x1b[A\x1b[A")  # two up: what was asked before
shell.see(b"generate_series")
shell.type(b"\x03")
shell.see(b"sql> ")
shell.type(b"\\q\r")
sys.exit(shell.ended())
