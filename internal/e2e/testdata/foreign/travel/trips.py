# Trips, from memory; every request takes about 15 ms; trip 7 is busy the first time it is asked for.
import json, os, random, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
FAULT = os.environ.get("FAULTS", "").strip()
ALL = {i: {"id": i, "name": f"trip {i}", "seats": 40 - i, "price": {"amount": 10.5 * i, "currency": "EUR"}} for i in range(1, 9)}
busy = 0
class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def log_message(self, *a): pass
    def say(self, status, value):
        b = json.dumps(value).encode()
        self.send_response(status); self.send_header("Content-Type", "application/json"); self.send_header("Content-Length", str(len(b)))
        self.end_headers(); self.wfile.write(b); self.wfile.flush()
    def do_GET(self):
        global busy
        if self.path == "/health": return self.say(200, "ok")
        time.sleep(0.015 * random.uniform(0.9, 1.2) * (2 if FAULT == "slow" else 1))
        if self.path == "/trips/7":
            busy += 1
            if FAULT == "no-backoff" and busy % 8 or busy % 2: return self.say(503, {"error": "busy"})
        if self.path == "/trips": return self.say(200, [self.show(t) for t in ALL.values()])
        t = ALL.get(int(self.path.split("/")[-1]))
        self.say(200 if t else 404, self.show(t) if t else {"error": "none"})
    def show(self, t): return {k: v for k, v in t.items() if not (FAULT == "field-removed" and k == "seats")}
ThreadingHTTPServer(("", 5000), H).serve_forever()
