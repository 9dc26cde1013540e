-- wrk: two requests for a user to each for the small JSON; every user has a path of its own.
local n = 0

function request()
  n = n + 1
  if n % 3 == 0 then
    return wrk.format("GET", "/json")
  end
  return wrk.format("GET", "/users/" .. (n % 1000 + 1))
end
