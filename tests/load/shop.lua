-- wrk: visitors of tests/servers/python/shop.py: of ten requests seven for a product, two searches, a login.
local words = { "red", "coat", "blue", "hat" }
local n = 0

function request()
  n = n + 1
  if n % 10 == 0 then
    return wrk.format("POST", "/login", nil, "user=visitor" .. n)
  end
  if n % 5 == 1 then
    return wrk.format("GET", "/search?q=" .. words[n % #words + 1])
  end
  return wrk.format("GET", "/products/" .. (n * 7 % 400))
end
