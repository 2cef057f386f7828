-- wrk: the request that the scenario asks for, and one line for compare.sh at the end:
-- requests, microseconds, p50 and p99 in microseconds, bytes, failures.

local body = tonumber(os.getenv("BENCH_BODY") or "0")
if body > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("b", body)
  wrk.headers["Content-Type"] = "application/octet-stream"
end
if os.getenv("BENCH_CLOSE") == "1" then
  wrk.headers["Connection"] = "close"
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.bytes,
    e.status + e.connect + e.read + e.write + e.timeout))
end
