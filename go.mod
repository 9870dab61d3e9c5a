module taskrouter/capability

go 1.21
