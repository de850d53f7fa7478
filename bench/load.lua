-- What wrk sends, and one line of figures at its end. No `request` function: wrk then builds its request once and never enters Lua.
wrk.method = os.getenv("BENCH_METHOD")
if wrk.method == "POST" then
  wrk.body = os.getenv("BENCH_BODY")
  wrk.headers["Content-Type"] = "application/json"
end

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("figures %d %d %d %d %d %d %d %.0f %.0f\n", summary.requests, summary.duration, errors.status,
    errors.connect, errors.read, errors.write, errors.timeout, latency:percentile(50.0), latency:percentile(99.0)))
end
