# Heavy-tailed latencies, 3 % of 503, answers with optional fields.
import json, os, random, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
FAULT = os.environ.get("FAULTS", "").strip()
class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"; wbufsize = -1
    def log_message(self, *a): pass
    def do_GET(self):
        if self.path != "/health": time.sleep(0.010 * random.lognormvariate(0, 0.5) * (2 if FAULT == "slow" else 1))
        hits = [{"doc": random.getrandbits(40), "score": random.random(), "title": "t"} for _ in range(random.randint(1, 4))]
        for h in hits:
            if random.random() < 0.3: h["author"] = {"name": "x"}
            if FAULT == "field-removed": del h["score"]
        status = 503 if self.path != "/health" and random.random() < (0.03 if FAULT != "no-backoff" else 0.25) else 500 if FAULT == "errors" and random.random() < 0.08 else 200
        b = json.dumps({"hits": hits, "took": 1} if status == 200 else {"error": "busy"}).encode()
        self.send_response(status); self.send_header("Content-Type", "application/json"); self.send_header("Content-Length", str(len(b))); self.end_headers(); self.wfile.write(b); self.wfile.flush()
ThreadingHTTPServer(("", 9200), H).serve_forever()
