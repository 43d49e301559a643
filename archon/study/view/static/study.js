// The page is drawn once.

document.getElementById("study").replaceChildren(...[drawHead(), drawBest(), drawFront(), drawParameters(), drawTrials()].flat().filter(Boolean));
document.documentElement.dataset.ready = "yes";
