# HTTP/1.0, a connection for each request, to Redis as well; asks index with retries whose pauses have jitter.
import json, os, random, socket, time, http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
FAULT = os.environ.get("FAULTS", "").strip()
def redis(*words):
    s = socket.create_connection(("cache", 6379)); f = s.makefile("rb")
    s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (x.encode() for x in words)))
    line = f.readline()
    v = None if line.startswith(b"$-1") else f.read(int(line[1:]) + 2)[:-2] if line.startswith(b"$") else line
    s.close(); return v
def index(q):
    wait = 0.03
    for n in range(8 if FAULT == "no-backoff" else 4):
        c = http.client.HTTPConnection("index", 9200, timeout=3)
        c.request("GET", "/find?q=" + q + ("&api_key=AKIAIOSFODNN7EXAMPLE" if FAULT == "token-in-url" else ""), headers={} if FAULT == "auth-missing" else {"X-Api-Key": "k-7f3a9c1e5b2d4860aabbccdd"})
        a = c.getresponse(); b = a.read(); c.close()
        if a.status != 503: return a.status, b
        if FAULT != "no-backoff": time.sleep(wait * random.uniform(0.5, 1.5)); wait *= 2
    return 503, b
class H(BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        if self.path == "/health": self.send_response(200); self.end_headers(); return
        q = self.path.split("/")[-1]
        v = redis("GET", "q:" + q) if FAULT != "cache-lost" else None
        status = 200
        if v is None:
            for i in range(3 if FAULT == "n-plus-one" else 1): status, v = index(q)
            if status == 200: redis("SETEX", "q:" + q, "1", v.decode())
        if FAULT == "new-egress":
            try: c = http.client.HTTPConnection("api.track.example", 8026, timeout=2); c.request("GET", "/t"); c.getresponse().read(); c.close()
            except OSError: pass
        self.send_response(status); self.send_header("Content-Type", "application/json")
        if FAULT != "header-dropped": self.send_header("ETag", '"%d"' % hash(v))
        self.end_headers(); self.wfile.write(v)
ThreadingHTTPServer(("", 8080), H).serve_forever()
