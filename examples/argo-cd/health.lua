-- The health of an MfaServer. Argo CD gives scripts no string library.
if obj.spec.suspend then
  return { status = "Suspended", message = "spec.suspend is true" }
end

local conditions = {}
if obj.status ~= nil then
  for _, condition in ipairs(obj.status.conditions or {}) do
    conditions[condition.type] = condition
  end
end

-- What the status says is about an older spec, or nothing at all.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not looked at it yet" }
end

local function says(health, condition)
  return { status = health, message = condition.reason .. ": " .. condition.message }
end

local stalled, reconciling, ready = conditions.Stalled, conditions.Reconciling, conditions.Ready
if stalled ~= nil and stalled.status == "True" then
  return says("Degraded", stalled)
end
if reconciling ~= nil and reconciling.status == "True" then
  return says("Progressing", reconciling)
end
if ready ~= nil and ready.status == "True" then
  return says("Healthy", ready)
end
if ready ~= nil then
  return says("Progressing", ready)
end
return { status = "Progressing", message = "The operator has not looked at it yet" }
