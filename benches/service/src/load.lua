-- Each request carries the next session's cookie, so that no two at once are of one session.
-- Arguments: a file with a Cookie header on each line.
local requests, at = {}, 0

function init(args)
   for cookie in io.lines(args[1]) do
      local headers = cookie ~= "" and { Cookie = cookie } or {}
      requests[#requests + 1] = wrk.format("GET", nil, headers)
   end
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function done(summary)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   print(string.format("answered %d failed %d", summary.requests, failed))
end
