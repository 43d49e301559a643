// The page is drawn once.

document.getElementById("study").replaceChildren(...[drawHead(), drawBest(), drawFront(), drawHoles(), drawTrials()].flat().filter(Boolean));
document.documentElement.dataset.ready = "yes";
